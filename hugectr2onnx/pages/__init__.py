"""Pages that the verbs write: one shell, and blocks that become HTML, Markdown or data."""
