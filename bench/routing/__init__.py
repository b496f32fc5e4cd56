"""How well `auto` chooses, over prompts written and labelled for it: `python -m bench.routing`.

Owns the prompts (`prompts.jsonl`), how a request is made of each, and the report: what is saved
against the reference model at listed prices, and how many hard prompts go to a strong model.
Does not own the score (`engine.routing.auto`) nor any price. No network, and no model is asked.
"""
