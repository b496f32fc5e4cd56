"""What a simulated OpenAI keeps beside files and jobs: responses, conversations, what agents are
made of. In memory, bounded, of each key.

Owns the objects, their ids and parents, their lists and errors, in the words of the API.
Does not own how an answer is composed (`compose`), files (`files`), nor the clock (`courses`).
`GET /_kept` shows all there is; every call is in `Shelf.calls`, which says what was asked for here.
"""
