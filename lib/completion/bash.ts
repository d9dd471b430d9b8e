import { allNodes, type CompletionTree, type OptionNode, type Value, valueOptions } from "./tree.ts";

/** Writes the completion for bash, from 3.2 on. */
export function bashCompletion(tree: CompletionTree): string {
  const { root, globals } = tree;
  const { name } = root;
  const fn = `_${name.replaceAll("-", "_")}`;
  const values = valueOptions(tree);
  const nodes = allNodes(root);
  const known = nodes.flatMap(({ path }) => path === "" ? [] : [`/${path}`]);
  const byNode = nodes.map(({ path, commands, words, options }) =>
    `    "${path === "" ? "" : `/${path}`}")
      words="${[...commands.map((c) => c.name), ...words].join(" ")}"
      options="${
      options.flatMap(({ long, short }) => short === undefined ? [long] : [short, long]).join(" ")
    }" ;;`
  );
  const byValue = [...values].map(([long, value]) => `    ${long}) ${replyOf(value)} ;;`);
  return `# bash completion for ${name}: source it, or put it in a folder of bash-completion.
${fn}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]}
  local path="" skip="" word words="" options="" IFS=$' \\t\\n'
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    # What follows an option with a value is no command.
    [[ $word == "=" ]] && continue
    if [[ -n $skip ]]; then skip=""; continue; fi
    case $word in
      ${[...values.keys()].join("|")}) skip=1 ;;
      -*) ;;
      *) case "$path/$word" in ${known.join("|")}) path="$path/$word" ;; esac ;;
    esac
  done
  [[ $cur == "=" ]] && cur=""
  [[ $prev == "=" ]] && prev=\${COMP_WORDS[COMP_CWORD-2]}
  [[ -n $skip ]] && case $prev in
${byValue.join("\n")}
  esac
  case $path in
${byNode.join("\n")}
  esac
  if [[ $cur == -* ]]; then words="$options ${namesOf(globals)}"; fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F ${fn} ${name}
`;
}

function namesOf(options: readonly OptionNode[]): string {
  return options.flatMap(({ long, short }) => short === undefined ? [long] : [short, long]).join(" ");
}

function replyOf(value: Value): string {
  switch (value.kind) {
    case "file":
      return `compopt -o filenames 2>/dev/null; IFS=$'\\n'; COMPREPLY=($(compgen -f -- "$cur")); return`;
    case "words":
      return `COMPREPLY=($(compgen -W "${value.words.join(" ")}" -- "$cur")); return`;
    case "free":
      return "return";
  }
}
