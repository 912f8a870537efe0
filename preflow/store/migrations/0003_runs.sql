CREATE TABLE runs (
    run_id text PRIMARY KEY,
    pipeline text NOT NULL,
    parameters jsonb NOT NULL,
    metrics jsonb NOT NULL,
    promoted boolean NOT NULL,
    promotion_reason text NOT NULL,
    report_uri text NOT NULL,
    policy_uri text NOT NULL,
    feedback_watermark text NOT NULL, -- feedback rows with an xid strictly below it were read
    started_at timestamptz,
    finished_at timestamptz NOT NULL DEFAULT now()
);

-- Which answers a run used. No reference to llm_logs: what a run used stays true when the log is emptied.
CREATE TABLE run_generations (
    run_id text NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
    generation_id uuid NOT NULL,
    PRIMARY KEY (run_id, generation_id)
);
CREATE INDEX run_generations_generation_id ON run_generations (generation_id);

CREATE TABLE evaluations (
    run_id text NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
    place integer NOT NULL,          -- its place among the rows of the run, from 0
    prompt_id text NOT NULL,
    row jsonb NOT NULL,
    PRIMARY KEY (run_id, place)
);
CREATE INDEX evaluations_prompt_id ON evaluations (prompt_id);
