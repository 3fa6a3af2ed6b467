"""Questions that passes ask about a graph; nothing here changes it."""
