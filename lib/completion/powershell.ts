import { allNodes, type CompletionTree, type OptionNode, valueOptions } from "./tree.ts";

/** Writes the completion for PowerShell: to be run from the profile. */
export function powershellCompletion(tree: CompletionTree): string {
  const { root, globals } = tree;
  const { name } = root;
  const nodes = allNodes(root).map(({ path, commands, words, options }) => {
    const rows = [
      ...commands.map((c) => row(c.name, c.description)),
      ...words.map((word) => row(word, word)),
      ...options.map(optionRow),
    ];
    return `        ${quote(path)} = @(\n${rows.join("\n")}\n        )`;
  });
  const values = [...valueOptions(tree)];
  const lists = values.flatMap(([long, value]) =>
    value.kind === "words" ? [`        ${quote(long)} = @(${value.words.map(quote).join(", ")})`] : []
  );
  const files = values.flatMap(([long, value]) => value.kind === "file" ? [quote(long)] : []);
  return `# PowerShell completion for ${name}: put it in $PROFILE, or run it there.
Register-ArgumentCompleter -Native -CommandName ${quote(name)}, ${quote(`${name}.exe`)} -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $nodes = @{
${nodes.join("\n")}
    }
    $globals = @(
${globals.map(optionRow).join("\n")}
    )
    $valueOptions = @(${values.map(([long]) => quote(long)).join(", ")})
    $valueWords = @{
${lists.join("\n")}
    }
    $fileOptions = @(${files.join(", ")})
    $path = ''
    $pending = ''
    foreach ($element in @($commandAst.CommandElements | Select-Object -Skip 1)) {
        if ($element.Extent.EndOffset -ge $cursorPosition -and $wordToComplete -ne '') { break }
        $word = $element.ToString()
        if ($pending -ne '') { $pending = ''; continue }
        if ($valueOptions -contains $word) { $pending = $word; continue }
        if ($word.StartsWith('-')) { continue }
        $next = "$path/$word".TrimStart('/')
        if ($nodes.ContainsKey($next)) { $path = $next }
    }
    # Nothing given back: PowerShell completes files by itself.
    if ($fileOptions -contains $pending) { return }
    if ($pending -ne '') {
        foreach ($word in @($valueWords[$pending] | Where-Object { $_ -like "$wordToComplete*" })) {
            [System.Management.Automation.CompletionResult]::new($word, $word, 'ParameterValue', $word)
        }
        return
    }
    foreach ($row in $nodes[$path] + $globals) {
        if ($row[0] -notlike "$wordToComplete*") { continue }
        if ($wordToComplete -eq '' -and $row[0].StartsWith('-')) { continue }
        [System.Management.Automation.CompletionResult]::new($row[0], $row[0], 'ParameterValue', $row[1])
    }
}
`;
}

function optionRow({ long, description }: OptionNode): string {
  return row(long, description);
}

function row(word: string, description: string): string {
  return `            , @(${quote(word)}, ${quote(description)})`;
}

function quote(text: string): string {
  return `'${text.replaceAll(/\s+/g, " ").replaceAll("'", "''")}'`;
}
