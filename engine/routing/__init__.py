"""Which deployments serve a call, in which order, and how each of them does.

Owns: the catalogue's values (models, deployments), the plan (a pure function of what is asked, the
catalogue, health and time), the health of deployments, and the table of what follows a failure.
Does not own: attempts themselves (`engine.leg`, `engine.retrying`), connections (`upstream`),
prices as such (`metering`; a deployment carries its rates as values), or who may use a model
(`admission`).
"""
