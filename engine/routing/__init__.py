"""Which deployment serves a call.

Owns: the catalogue's values (models, deployments) and the plan, a pure function of call, catalogue,
health and time.
Does not own: connections (`upstream`), prices as such (`metering`; a deployment carries its rates
as values), or who may use a model (`admission`).
"""
