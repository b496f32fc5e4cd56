"""Jobs: what a client asks for and gets later, in several faces, of providers with dialects.

Owns: reading clients' requests for videos and music (`video_generations`, `openai_videos`, …), the
providers' dialects as data (`specs`), what is sent to one (`submits`) and what it says (`reports`,
`paths`), how a job is shown (`views`). Does not own: when a provider is asked, states that are
kept, money (`engine.jobs`, `engine.ledger`), results and where they are fetched.
"""
