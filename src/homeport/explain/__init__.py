"""Why things are as they are: pure functions from objects of the API to a sentence and what is behind it."""
