"""Human and automated judgements: read in any accepted form, checked, compared, counted, and frozen at a watermark."""
