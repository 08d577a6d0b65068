"""How well lips and sound go together: SyncNet as published."""
