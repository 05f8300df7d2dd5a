//! Nothing here: the models are the tests. `README.md` says what each shows.
