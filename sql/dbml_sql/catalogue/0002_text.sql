CREATE TABLE ml.text_features (
    model_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    weighting VARCHAR NOT NULL,
    scale DOUBLE[] NOT NULL
);
COMMENT ON TABLE ml.text_features IS 'How the words of a text count; a row for each feature of kind text';
COMMENT ON COLUMN ml.text_features.model_id IS 'Model, see ml.registered_models';
COMMENT ON COLUMN ml.text_features.version IS 'Version of the model';
COMMENT ON COLUMN ml.text_features.position IS 'Position of the feature in ml.features';
COMMENT ON COLUMN ml.text_features.weighting IS 'count, binary or tfidf';
COMMENT ON COLUMN ml.text_features.scale IS 'Inverse document frequency of each term; empty unless the weighting is tfidf';
COMMENT ON COLUMN ml.features.kind IS 'number, category, vector, lists, map or text';
COMMENT ON COLUMN ml.features.levels IS 'Levels, map keys or words that have a term each, as text';
COMMENT ON COLUMN ml.features.width IS 'Terms of a vector, of lists or of a text';
