"""What people and clients touch: the HTTP application, the connection boundary, the command line.

Parses HTTP, calls the engine, renders what it says in the client's protocol. Decides no policy and
moves no money: whatever a request costs or may do, the engine says. Nothing imports this package.
Start at `app.py` for HTTP, at `serving.py` for the process, at `commands.py` for administration.
"""
