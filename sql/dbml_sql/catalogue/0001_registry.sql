CREATE SCHEMA IF NOT EXISTS ml;

CREATE TABLE ml.migrations (
    number INTEGER PRIMARY KEY,
    name VARCHAR NOT NULL,
    dbml_version VARCHAR NOT NULL,
    applied_at TIMESTAMP NOT NULL
);
COMMENT ON TABLE ml.migrations IS 'Changes of this schema that were applied to this database';
COMMENT ON COLUMN ml.migrations.number IS 'Number of the migration; the largest one is the version of the schema';
COMMENT ON COLUMN ml.migrations.name IS 'Name of the file that made the change';
COMMENT ON COLUMN ml.migrations.dbml_version IS 'Version of dbml that applied it';
COMMENT ON COLUMN ml.migrations.applied_at IS 'When, in UTC';

CREATE TABLE ml.registered_models (
    model_id INTEGER PRIMARY KEY,
    name VARCHAR NOT NULL,
    current_version INTEGER NOT NULL,
    last_version INTEGER NOT NULL,
    created_at TIMESTAMP NOT NULL
);
CREATE UNIQUE INDEX registered_models_name ON ml.registered_models (lower(name));
COMMENT ON TABLE ml.registered_models IS 'One row a model; renaming it or rolling it back changes only this row';
COMMENT ON COLUMN ml.registered_models.model_id IS 'Number of the model, kept when it is renamed';
COMMENT ON COLUMN ml.registered_models.name IS 'Name as it was written; upper and lower case are the same name';
COMMENT ON COLUMN ml.registered_models.current_version IS 'The version that the bare name means';
COMMENT ON COLUMN ml.registered_models.last_version IS 'Largest version number given so far; numbers are never used twice';
COMMENT ON COLUMN ml.registered_models.created_at IS 'When the first version was saved, in UTC';

CREATE TABLE ml.model_versions (
    model_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    type VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    target VARCHAR,
    target_type VARCHAR,
    classes VARCHAR,
    named BOOLEAN NOT NULL,
    params VARCHAR NOT NULL,
    attributes VARCHAR NOT NULL,
    link VARCHAR,
    options VARCHAR,
    query VARCHAR,
    metrics MAP(VARCHAR, DOUBLE),
    n_rows BIGINT,
    run_id INTEGER,
    plan VARCHAR,
    format INTEGER NOT NULL,
    dbml_version VARCHAR NOT NULL,
    checksum VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    PRIMARY KEY (model_id, version)
);
COMMENT ON TABLE ml.model_versions IS 'One row a version of a model; a version is never changed';
COMMENT ON COLUMN ml.model_versions.model_id IS 'Model, see ml.registered_models';
COMMENT ON COLUMN ml.model_versions.version IS 'Number of the version: 1, 2, ...';
COMMENT ON COLUMN ml.model_versions.type IS 'Class of the estimator, e.g. LogisticRegression';
COMMENT ON COLUMN ml.model_versions.task IS 'regression, classification or none';
COMMENT ON COLUMN ml.model_versions.target IS 'Name of the label column';
COMMENT ON COLUMN ml.model_versions.target_type IS 'Type of the label column in training';
COMMENT ON COLUMN ml.model_versions.classes IS 'Class labels in order, as a JSON array; NULL in regression';
COMMENT ON COLUMN ml.model_versions.named IS 'Whether the features came with names (false: an array, columns x0, x1, ...)';
COMMENT ON COLUMN ml.model_versions.params IS 'Hyperparameters, as a JSON object';
COMMENT ON COLUMN ml.model_versions.attributes IS 'Fitted attributes that are not arrays, as a JSON object';
COMMENT ON COLUMN ml.model_versions.link IS 'Link of the linear form that SQL scores; NULL where the model has no form';
COMMENT ON COLUMN ml.model_versions.options IS 'OPTIONS of the CREATE MODEL statement, as a JSON object';
COMMENT ON COLUMN ml.model_versions.query IS 'Query it was trained on, byte for byte';
COMMENT ON COLUMN ml.model_versions.metrics IS 'Metrics by name, those of ML.EVALUATE';
COMMENT ON COLUMN ml.model_versions.n_rows IS 'Rows it was trained on';
COMMENT ON COLUMN ml.model_versions.run_id IS 'Training run, see ml.training_runs';
COMMENT ON COLUMN ml.model_versions.plan IS 'Plan of the training, as a JSON object';
COMMENT ON COLUMN ml.model_versions.format IS 'Version of the storage format; a newer one than dbml knows is refused';
COMMENT ON COLUMN ml.model_versions.dbml_version IS 'Version of dbml that saved it';
COMMENT ON COLUMN ml.model_versions.checksum IS 'SHA-256 over the stored content';
COMMENT ON COLUMN ml.model_versions.created_at IS 'When it was saved, in UTC';

CREATE TABLE ml.aliases (
    model_id INTEGER NOT NULL,
    alias VARCHAR NOT NULL,
    version INTEGER NOT NULL,
    set_at TIMESTAMP NOT NULL
);
COMMENT ON TABLE ml.aliases IS 'Names of versions: late@champion';
COMMENT ON COLUMN ml.aliases.model_id IS 'Model, see ml.registered_models';
COMMENT ON COLUMN ml.aliases.alias IS 'The alias; upper and lower case are the same';
COMMENT ON COLUMN ml.aliases.version IS 'The version it stands for';
COMMENT ON COLUMN ml.aliases.set_at IS 'When it was set, in UTC';

CREATE TABLE ml.features (
    model_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    column_name VARCHAR NOT NULL,
    type VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    part VARCHAR,
    fill DOUBLE[] NOT NULL,
    flag BOOLEAN NOT NULL,
    levels VARCHAR[] NOT NULL,
    null_level BOOLEAN NOT NULL,
    other_level BOOLEAN NOT NULL,
    width INTEGER NOT NULL,
    values_column VARCHAR,
    first_index INTEGER NOT NULL
);
COMMENT ON TABLE ml.features IS 'What each input column becomes, in order';
COMMENT ON COLUMN ml.features.model_id IS 'Model, see ml.registered_models';
COMMENT ON COLUMN ml.features.version IS 'Version of the model';
COMMENT ON COLUMN ml.features.position IS 'Position of the feature: 0, 1, ...';
COMMENT ON COLUMN ml.features.column_name IS 'Input column';
COMMENT ON COLUMN ml.features.type IS 'Type of the column in training';
COMMENT ON COLUMN ml.features.kind IS 'number, category, vector, lists or map';
COMMENT ON COLUMN ml.features.part IS 'Calendar part in UTC: epoch, year, month, weekday or hour';
COMMENT ON COLUMN ml.features.fill IS 'Means that missing values take, one a dense term; empty where missing values are kept';
COMMENT ON COLUMN ml.features.flag IS 'Whether a term marks missing values';
COMMENT ON COLUMN ml.features.levels IS 'Levels (or map keys) that have a term each, as text';
COMMENT ON COLUMN ml.features.null_level IS 'Whether NULL has a term';
COMMENT ON COLUMN ml.features.other_level IS 'Whether rare and unseen levels share a term';
COMMENT ON COLUMN ml.features.width IS 'Terms of a vector or of lists';
COMMENT ON COLUMN ml.features.values_column IS 'Lists: the column that holds the values';
COMMENT ON COLUMN ml.features.first_index IS 'Lists: index of the first term, 0 or 1';

CREATE TABLE ml.weights (
    model_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    output INTEGER NOT NULL,
    term INTEGER,
    feature INTEGER,
    kind VARCHAR NOT NULL,
    level VARCHAR,
    weight DOUBLE NOT NULL
);
COMMENT ON TABLE ml.weights IS 'Weights of linear models, one row a term and output';
COMMENT ON COLUMN ml.weights.model_id IS 'Model, see ml.registered_models';
COMMENT ON COLUMN ml.weights.version IS 'Version of the model';
COMMENT ON COLUMN ml.weights.output IS 'Output: 0, or the number of the class';
COMMENT ON COLUMN ml.weights.term IS 'Number of the term; NULL for the intercept';
COMMENT ON COLUMN ml.weights.feature IS 'Position of the feature in ml.features; NULL for the intercept';
COMMENT ON COLUMN ml.weights.kind IS 'intercept, value, missing, level, null or other';
COMMENT ON COLUMN ml.weights.level IS 'Level, key or index that the term stands for; NULL for a number';
COMMENT ON COLUMN ml.weights.weight IS 'Weight of the term less its mean (numbers) or of the term (others)';

CREATE TABLE ml.arrays (
    model_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    dtype VARCHAR NOT NULL,
    shape BIGINT[] NOT NULL,
    data BLOB NOT NULL,
    sha256 VARCHAR NOT NULL
);
COMMENT ON TABLE ml.arrays IS 'Fitted arrays as bytes: little endian, row major';
COMMENT ON COLUMN ml.arrays.model_id IS 'Model, see ml.registered_models';
COMMENT ON COLUMN ml.arrays.version IS 'Version of the model';
COMMENT ON COLUMN ml.arrays.name IS 'Fitted attribute, e.g. coef_';
COMMENT ON COLUMN ml.arrays.dtype IS 'NumPy type string, e.g. <f8';
COMMENT ON COLUMN ml.arrays.shape IS 'Lengths of the dimensions';
COMMENT ON COLUMN ml.arrays.data IS 'The bytes';
COMMENT ON COLUMN ml.arrays.sha256 IS 'Checksum of the bytes, in hexadecimal';

CREATE TABLE ml.training_runs (
    run_id INTEGER PRIMARY KEY,
    model VARCHAR,
    version INTEGER,
    type VARCHAR NOT NULL,
    params VARCHAR NOT NULL,
    query VARCHAR,
    status VARCHAR NOT NULL,
    n_rows BIGINT,
    error VARCHAR,
    started_at TIMESTAMP NOT NULL,
    ended_at TIMESTAMP
);
COMMENT ON TABLE ml.training_runs IS 'One row a training, readable while it runs';
COMMENT ON COLUMN ml.training_runs.run_id IS 'Number of the run';
COMMENT ON COLUMN ml.training_runs.model IS 'Name of the model at that time';
COMMENT ON COLUMN ml.training_runs.version IS 'Version it was saved as; NULL until then';
COMMENT ON COLUMN ml.training_runs.type IS 'Class of the estimator';
COMMENT ON COLUMN ml.training_runs.params IS 'Hyperparameters, as a JSON object';
COMMENT ON COLUMN ml.training_runs.query IS 'Query it is trained on';
COMMENT ON COLUMN ml.training_runs.status IS 'running, succeeded, interrupted or failed';
COMMENT ON COLUMN ml.training_runs.n_rows IS 'Rows read';
COMMENT ON COLUMN ml.training_runs.error IS 'Message of a failed run';
COMMENT ON COLUMN ml.training_runs.started_at IS 'Start, in UTC';
COMMENT ON COLUMN ml.training_runs.ended_at IS 'End, in UTC; NULL while it runs';

CREATE TABLE ml.training_iterations (
    run_id INTEGER NOT NULL,
    iteration INTEGER NOT NULL,
    loss DOUBLE,
    eval_loss DOUBLE,
    learning_rate DOUBLE,
    duration_ms BIGINT
);
COMMENT ON TABLE ml.training_iterations IS 'One row a pass over the data of a training, written as it happens';
COMMENT ON COLUMN ml.training_iterations.run_id IS 'Training run, see ml.training_runs';
COMMENT ON COLUMN ml.training_iterations.iteration IS 'Number of the iteration, from 0';
COMMENT ON COLUMN ml.training_iterations.loss IS 'Loss on the training rows';
COMMENT ON COLUMN ml.training_iterations.eval_loss IS 'Loss on the rows held out';
COMMENT ON COLUMN ml.training_iterations.learning_rate IS 'Learning rate, where there is one';
COMMENT ON COLUMN ml.training_iterations.duration_ms IS 'Time it took, in milliseconds';

CREATE VIEW ml.models AS
SELECT
    m.name,
    v.version,
    v.type,
    v.task,
    v.target,
    (SELECT list(c.column_name ORDER BY c.first_position)
     FROM (SELECT f.column_name, min(f.position) AS first_position
           FROM ml.features f
           WHERE f.model_id = v.model_id AND f.version = v.version
           GROUP BY f.column_name) c) AS features,
    v.params,
    v.metrics,
    v.n_rows,
    (SELECT list(a.alias ORDER BY a.alias)
     FROM ml.aliases a
     WHERE a.model_id = v.model_id AND a.version = v.version) AS aliases,
    (SELECT count(*) FROM ml.model_versions w WHERE w.model_id = v.model_id) AS versions,
    v.created_at,
    v.dbml_version,
    v.query
FROM ml.registered_models m
JOIN ml.model_versions v ON v.model_id = m.model_id AND v.version = m.current_version
ORDER BY m.name;
COMMENT ON VIEW ml.models IS 'The models of this database, each at its current version';
COMMENT ON COLUMN ml.models.name IS 'Name of the model';
COMMENT ON COLUMN ml.models.version IS 'Its current version';
COMMENT ON COLUMN ml.models.type IS 'Class of the estimator';
COMMENT ON COLUMN ml.models.task IS 'regression, classification or none';
COMMENT ON COLUMN ml.models.target IS 'Name of the label column';
COMMENT ON COLUMN ml.models.features IS 'Input columns in the order of the scoring functions';
COMMENT ON COLUMN ml.models.params IS 'Hyperparameters, as a JSON object';
COMMENT ON COLUMN ml.models.metrics IS 'Metrics by name';
COMMENT ON COLUMN ml.models.n_rows IS 'Rows it was trained on';
COMMENT ON COLUMN ml.models.aliases IS 'Aliases of the current version';
COMMENT ON COLUMN ml.models.versions IS 'Number of versions kept';
COMMENT ON COLUMN ml.models.created_at IS 'When the current version was saved, in UTC';
COMMENT ON COLUMN ml.models.dbml_version IS 'Version of dbml that saved it';
COMMENT ON COLUMN ml.models.query IS 'Query it was trained on';
