"""From result folders to tables and figures. Reads files only; knows nothing of how they were trained."""
