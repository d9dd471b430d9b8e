import { allNodes, type CompletionTree, type OptionNode } from "./tree.ts";

/** Writes the completion for zsh: for a file `_lifelog-agent` in `$fpath`, or to be sourced after `compinit`. */
export function zshCompletion({ root, globals }: CompletionTree): string {
  const { name } = root;
  const fn = (path: string) => `_${`${name}/${path}`.replace(/\/$/, "").replaceAll(/[-/]/g, "_")}`;
  const shared = `${fn("")}_shared`;
  const functions = allNodes(root).map((node) => {
    const { commands, words, options, path } = node;
    const specs = [...options.flatMap(specsOf), `"\${${shared}[@]}"`];
    if (commands.length === 0) {
      if (words.length > 0) specs.push(quote(`1:what:(${words.join(" ")})`));
      return `${fn(path)}() {\n  _arguments -s \\\n    ${specs.join(" \\\n    ")}\n}`;
    }
    return `${fn(path)}() {
  local curcontext="$curcontext" state line ret=1
  typeset -A opt_args
  local -a commands=(
    ${commands.map((c) => quote(`${c.name}:${oneLine(c.description).replaceAll(":", "\\:")}`)).join("\n    ")}
  )
  _arguments -C -s \\
    ${specs.join(" \\\n    ")} \\
    '1: :->command' '*:: :->rest' && ret=0
  case $state in
    command) _describe -t commands command commands && ret=0 ;;
    rest) case $line[1] in
      ${commands.map((c) => `${c.name}) ${fn(c.path)} && ret=0 ;;`).join("\n      ")}
    esac ;;
  esac
  return ret
}`;
  });
  return `#compdef ${name}
typeset -ga ${shared}
${shared}=(
  ${globals.flatMap(specsOf).join("\n  ")}
)
${functions.join("\n\n")}

if [[ $funcstack[1] == ${fn("")} || $funcstack[1] == _${name} ]]; then
  ${fn("")} "$@"
else
  compdef ${fn("")} ${name}
fi
`;
}

function specsOf({ long, short, description, value }: OptionNode): string[] {
  const text = oneLine(description).replaceAll(/[[\]\\:]/g, "\\$&");
  const action = value === undefined
    ? ""
    : value.kind === "file"
    ? ":file:_files"
    : value.kind === "words"
    ? `:value:(${value.words.join(" ")})`
    : ":value: ";
  return (short === undefined ? [long] : [short, long]).map((flag) =>
    quote(`${flag}${action !== "" && flag.startsWith("--") ? "=" : ""}[${text}]${action}`)
  );
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
