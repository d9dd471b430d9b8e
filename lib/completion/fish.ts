import { allNodes, type CompletionTree, type OptionNode, valueOptions } from "./tree.ts";

/** Writes the completion for fish: for a file `lifelog-agent.fish` in `~/.config/fish/completions`. */
export function fishCompletion(tree: CompletionTree): string {
  const { root, globals } = tree;
  const { name } = root;
  const nodes = allNodes(root);
  const fn = `__${name.replaceAll("-", "_")}`;
  const at = (path: string) => `-n ${quote(`${fn}_at ${quote(path)}`)}`;
  const lines = nodes.flatMap(({ path, commands, words, options }) => [
    ...commands.map((c) => `complete -c ${name} ${at(path)} -a ${c.name} -d ${quote(c.description)}`),
    ...(words.length === 0 ? [] : [`complete -c ${name} ${at(path)} -a ${quote(words.join(" "))}`]),
    ...options.map((option) => `complete -c ${name} ${at(path)} ${optionOf(option)}`),
  ]);
  return `# fish completion for ${name}
function ${fn}_path
    set -l path ''
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case ${[...valueOptions(tree).keys()].join(" ")}
                # What follows an option with a value is no command.
                set skip 1
            case '-*'
            case '*'
                set -l next (string trim -c / "$path/$word")
                if contains -- $next ${nodes.flatMap(({ path }) => path === "" ? [] : [path]).join(" ")}
                    set path $next
                end
        end
    end
    echo $path
end

function ${fn}_at
    set -l path (${fn}_path)
    test "$path" = "$argv[1]"
end

complete -c ${name} -f
${globals.map((option) => `complete -c ${name} ${optionOf(option)}`).join("\n")}
${lines.join("\n")}
`;
}

function optionOf({ long, short, description, value }: OptionNode): string {
  const names = `${short === undefined ? "" : `-s ${short.slice(1)} `}-l ${long.slice(2)}`;
  const takes = value === undefined
    ? ""
    : value.kind === "file"
    ? " -r -F"
    : value.kind === "words"
    ? ` -x -a ${quote(value.words.join(" "))}`
    : " -x";
  return `${names}${takes} -d ${quote(description)}`;
}

function quote(text: string): string {
  return `'${text.replaceAll(/\s+/g, " ").replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
