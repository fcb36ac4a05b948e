"""The protocol between algorithms and data. Estimators import this package; `dbml.data` and `dbml.engine` fulfil it."""
