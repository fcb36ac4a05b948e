"""Spam from the raw text of messages: one CREATE MODEL, one SELECT.

python examples/spam.py [messages.parquet]

The file has columns `label` ('ham' or 'spam') and `text`; without one, some messages are made up.
"""

import sys

import dbml

con = dbml.connect(":memory:")
if len(sys.argv) > 1:
    con.execute("CREATE TABLE messages AS SELECT label, text FROM read_parquet(?)", [sys.argv[1]])
else:
    con.execute("""
        CREATE TABLE messages AS
        SELECT CASE WHEN i % 4 = 0 THEN 'spam' ELSE 'ham' END AS label,
               concat_ws(' ', (CASE WHEN i % 4 = 0 THEN spam ELSE ham END)[1 + (hash(i) % 5)::INTEGER],
                         rest[1 + (hash(-i) % 4)::INTEGER], 'at ' || i % 24) AS text
        FROM range(2000) numbers(i),
             (SELECT ['win a free prize', 'claim your cash', 'urgent: call now', 'free entry', 'you have won'] AS spam,
                     ['see you', 'home for lunch?', 'running late, sorry', 'call me', 'thanks for'] AS ham,
                     ['today', 'tonight', 'at the office', 'my friend'] AS rest)""")
con.execute("CREATE TABLE numbered AS SELECT *, row_number() OVER () % 5 = 0 AS held_out FROM messages")

# Words become features; naive Bayes counts them by class in one pass.
con.execute("""
    CREATE MODEL spam
      OPTIONS (model_type = 'MultinomialNB', input_label_cols = ['label'], text = ['text']) AS
    SELECT label, text FROM numbered WHERE NOT held_out""")

((found, right, spam),) = con.sql("""
    SELECT count(*) FILTER (said = 'spam'), count(*) FILTER (said = 'spam' AND label = 'spam'),
           count(*) FILTER (label = 'spam')
    FROM (SELECT label, predict('spam', text) AS said FROM numbered WHERE held_out)""").fetchall()
print(f"f1 of spam on held-out messages: {2 * right / (found + spam):.3f}")

words = con.sql("""
    SELECT word.category, word.weight FROM (SELECT unnest(category_weights) AS word FROM ML.WEIGHTS(MODEL spam))
    ORDER BY word.weight DESC, word.category LIMIT 5""").fetchall()
print("words of spam:", ", ".join(word for word, _ in words))
con.close()
