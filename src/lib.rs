//! Copies the change history of an `OpenFGA` store into a SQL database, exactly once.
