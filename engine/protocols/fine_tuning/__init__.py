"""Fine-tuning as OpenAI's clients ask for it, and as its provider says how it does.

Owns the request of `POST /v1/fine_tuning/jobs` and the object that a job is. What is read, listed
and cancelled of jobs is passed through (`engine.passing`); files are given by `engine.fine_tuning`.
"""
