-- Who this store is. Caches of steps are keyed on it: another database has another id.
CREATE TABLE store_meta (
    store_id uuid NOT NULL DEFAULT gen_random_uuid()
);
CREATE UNIQUE INDEX store_meta_has_one_row ON store_meta ((true));
INSERT INTO store_meta DEFAULT VALUES;

-- The generation log: one row per sampled answer.
CREATE TABLE llm_logs (
    id bigserial PRIMARY KEY,
    generation_id uuid NOT NULL UNIQUE,
    prompt_id text NOT NULL,
    prompt text NOT NULL,            -- the plain text of the last user turn, for people and searches
    messages jsonb,                  -- all turns of a chat; null where the prompt is the plain string in `prompt`
    sample integer NOT NULL CHECK (sample >= 0),
    response text NOT NULL,
    model_name text NOT NULL,
    model_digest text NOT NULL,
    token_count integer NOT NULL,    -- tokens of the response
    prompt_tokens integer NOT NULL,
    generation_time double precision NOT NULL, -- seconds
    finish_reason text NOT NULL CHECK (finish_reason IN ('stop', 'length')),
    sampling jsonb NOT NULL,
    reward_score double precision,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX llm_logs_prompt_id ON llm_logs (prompt_id);

CREATE TABLE scores (
    generation_id uuid NOT NULL REFERENCES llm_logs (generation_id) ON DELETE CASCADE,
    metric text NOT NULL,
    scorer_digest text NOT NULL,
    value double precision,
    reason text,                     -- why there is no value
    PRIMARY KEY (generation_id, metric, scorer_digest),
    CHECK (value IS NOT NULL OR reason IS NOT NULL)
);

-- An emptied log must miss caches: a cached step would say that its rows are in the log, and they are not. So the store
-- becomes another store as soon as rows go. (Once per statement, also when it finds no row: a needless miss does no harm.)
CREATE FUNCTION renew_store_id() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE store_meta SET store_id = gen_random_uuid();
    RETURN NULL;
END
$$;
CREATE TRIGGER llm_logs_rows_gone AFTER DELETE OR TRUNCATE ON llm_logs
    FOR EACH STATEMENT EXECUTE FUNCTION renew_store_id();
