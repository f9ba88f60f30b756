# By intent and of all: prompts, those recognised, those whose setting is right (factual and analytical are set alike), and those
# left to the default for doubt. Run with jq -rs.
def setting: if . == "creative" or . == "code" then . else "plain" end;
["intent", "prompts", "recognised", "set right", "doubtful"],
((group_by(.intent) + [.])[] |
  [(map(.intent) | unique | if length > 1 then "all" else .[0] end), length,
   (map(select(.run.policy.intent == .intent)) | length),
   (map(select((.run.policy.intent // "" | setting) == (.intent | setting))) | length),
   (map(select(.run.policy.probability < 0.7)) | length)])
| @tsv
