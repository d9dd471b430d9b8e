import { SETTINGS } from "./settings.ts";

/** Values to begin with, where the default is no value that one could write. */
const EXAMPLES: Readonly<Record<string, string>> = {
  CENTRAL_SERVER_ENDPOINT: "https://lifelog.example.org/api/v1/ingest",
};

/**
 * A settings file with every setting in it, each explained and commented out: as it stands it changes nothing.
 * @param format `toml`, or `env` for a file like the Python daemon's
 */
export function settingsTemplate(format: "toml" | "env"): string {
  const entries = SETTINGS.map(({ env, default: byDefault, description, secret }) => {
    const literal = /^(\d+|true|false|https?:\S+|[A-Z]+|text|json)$/.test(byDefault);
    const value = EXAMPLES[env] ?? (literal ? byDefault : "");
    const note = literal && EXAMPLES[env] === undefined ? "" : ` (default: ${byDefault})`;
    const warning = secret ? "\n# A secret: let nobody else read this file." : "";
    return `# ${description}${note}${warning}\n# ${
      format === "env" ? `${env}=${value}` : `${env.toLowerCase()} = ${tomlValue(value)}`
    }\n`;
  });
  return `# The settings of lifelog-agent. Take the # away from what you set; lifelog-agent config check looks it over.
# Each can also be set in the environment, in capitals, or as an option: those win.

${entries.join("\n")}${format === "toml" ? RULES : ""}`;
}

/** In TOML whatever follows a table's head belongs to it. */
const RULES = `
# Privacy rules of your own; they stand at the end of this file. lifelog-agent preview shows what they do.
#   [[privacy.rules]]
#   domain = "bank.example"
#   action = "drop"
`;

function tomlValue(value: string): string {
  return /^(\d+|true|false)$/.test(value) ? value : JSON.stringify(value);
}
