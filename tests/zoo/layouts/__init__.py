"""Other states of the migration files on disk, for MIGRATION_MODULES."""
