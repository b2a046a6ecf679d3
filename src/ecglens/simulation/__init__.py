"""A cohort of simulated patients whose ECGs come with the reason for every beat's class."""
