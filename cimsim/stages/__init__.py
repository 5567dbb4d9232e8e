"""The arrows of the pipeline: each module joins packages that may not know each other.

`models` opens checkpoints and texts, `placing` joins chip and moe_mapping, `programmed_chip`
joins model and mac, `scoring` measures accuracy, `timing` joins routing, engine and
cost, `scale` carries a tile to a full-size model, `contenders` and `compare` put such chips
on equal terms, `columns` says what every cell of a table is, `tables` writes them down.
"""
