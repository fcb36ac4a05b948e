-- The macros of all models are written anew: those of a TIMESTAMPTZ read texts and TIMESTAMPs as a cast to it does.
COMMENT ON COLUMN ml.model_versions.query IS 'Query it was trained on, its tables with their schema, all else byte for byte';
