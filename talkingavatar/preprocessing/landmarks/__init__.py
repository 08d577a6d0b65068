"""Where 2D landmarks and coarse masks of a real clip come from, behind one small interface."""
