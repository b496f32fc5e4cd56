"""What providers say they charge, against what receipts say they do.

Owns reading the reports that providers let their customers download (costs and usage, as JSON or
CSV) and comparing them with the ledger's attempts, day by day and model by model, or request by
request. Pure but for reading receipts: it posts nothing itself and opens no connection.
"""
