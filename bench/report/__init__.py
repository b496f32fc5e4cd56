"""What a run leaves to read: raw.jsonl, report.json, a page of HTML, a table of Markdown.

Owns how samples are kept on disk (`jsonl`) and how figures are shown; `files` writes all of it.
Derives no figure but what a drawing needs: rows come from `bench.statistics`. Nothing written here
refers to anything outside its own file, and all text that came from elsewhere is escaped.
"""
