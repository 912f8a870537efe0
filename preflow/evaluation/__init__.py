"""Base and tuned model answer unseen prompts; every judge compares them; the report says which one is better."""
