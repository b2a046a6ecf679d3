"""The audit: can this model's explanations, and its scores, be believed? Checks that know no study, giving findings."""
