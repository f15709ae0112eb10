"""MARS: rewards from several sources, each of which judges the answer that follows the reasoning."""
