"""WIT: names and versions, the type model, its text, and the values of WAVE."""
