-- token_count is the number of all tokens, prompt and response; until now it held those of the response alone.
-- No row leaves the log, so store_id stays.
ALTER TABLE llm_logs ADD COLUMN completion_tokens integer; -- tokens of the response
UPDATE llm_logs SET completion_tokens = token_count, token_count = prompt_tokens + token_count;
ALTER TABLE llm_logs ALTER COLUMN completion_tokens SET NOT NULL;
