-- What people (and judges) said. Rows are never changed, so that a run can be repeated on exactly what it read.
CREATE TABLE feedback (
    feedback_id text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('thumbs', 'rating', 'correction', 'pairwise', 'ranking')),
    prompt_id text NOT NULL,
    prompt jsonb NOT NULL,
    responses jsonb NOT NULL,
    value jsonb NOT NULL,            -- JSON null for a tie
    labeler text NOT NULL,
    source text NOT NULL CHECK (source IN ('human', 'user', 'auto', 'example')),
    guideline_version text,
    shown_order jsonb,
    comment text,
    created_at timestamptz NOT NULL,
    -- The transaction that wrote the row. Reading strictly below a transaction horizon gives the same rows for ever;
    -- a serial number would not, because numbers are given out in one order and committed in another.
    xid xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX feedback_xid ON feedback (xid);
CREATE INDEX feedback_prompt_id ON feedback (prompt_id);

CREATE FUNCTION refuse_feedback_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'feedback is append-only: % is refused; append a new row instead', TG_OP
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER feedback_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON feedback
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_feedback_change();
