from robustness.corpus import table

print(table())
