"""What the API says of itself: an OpenAPI document, made of the app's routes and a table of rows.

Owns: what is said of each route (`table.ROWS`: one module a family), and how that becomes the
document. Owns no route: which there are the app knows, and who may use them `frontends.scopes`.
A route without a row fails a test, whose message says what to write. To add one: a `Row` in the
module of its family, with examples that can be sent to the demo as they are; the tests send them.
"""
