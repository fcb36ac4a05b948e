-- The macros of all models are written anew (dbml_sql.catalogue.Migration.writes_macros): no table changes.
COMMENT ON TABLE ml.migrations IS 'Changes of this schema that were applied to this database';
