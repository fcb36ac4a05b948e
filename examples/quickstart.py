"""From a table to a model to SELECT predict(…), in SQL and in Python.

python examples/quickstart.py
"""

import dbml
from dbml import LogisticRegression

con = dbml.connect(":memory:")  # or a file: dbml.connect("flights.duckdb")
con.execute("""
    CREATE TABLE flights AS
    SELECT ['Aurora', 'Condor', 'Estrella'][1 + (hash(i) % 3)::INTEGER] AS carrier,
           5 + (hash(-i) % 18)::INTEGER AS hour,
           CASE WHEN i % 11 <> 0 THEN (hash(i * 7 + 1) % 400) / 10 END AS wind,
           (hash(i * 7 + 3) % 100) / 100 < 0.1 + 0.02 * (hour - 5) + 0.01 * coalesce(wind, 12) AS late
    FROM range(1, 50001) numbers(i)""")

# In SQL: a model is made like a table, and scores like a function.
con.execute("""
    CREATE OR REPLACE MODEL late
      OPTIONS (model_type = 'logistic_reg', input_label_cols = ['late']) AS
    SELECT * FROM flights""")
risk = """
    SELECT hour, round(avg(late::INTEGER), 2) AS happened, round(avg(predict_proba('late', f)['true']), 2) AS predicted
    FROM flights f WHERE hour % 6 = 0 GROUP BY hour ORDER BY hour"""
for row in con.sql(risk).fetchall():
    print("hour {:2}: {:.2f} happened, {:.2f} predicted".format(*row))

# In Python: scikit-learn's names over the same table. Text and NULL need no preparation.
model = LogisticRegression(C=10.0).fit(con.table("flights"), y="late")
scored = model.predict(con.table("flights"))  # a relation in, a relation out
((right,),) = scored.aggregate("avg((late = predicted_late)::INTEGER)").fetchall()
print(f"{right:.0%} of the flights are predicted right")

con.save_model("late_in_python", model)
print(con.sql("SELECT name, version, type, target FROM ml.models ORDER BY name").fetchall())
con.close()
