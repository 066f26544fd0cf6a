"""Generated facts about every field; see `tools/schema_facts.py` for what they say and how to make them again."""
