import { man } from "./man.ts";
import { completion } from "./completion.ts";
import { config } from "./config.ts";
import type { CommandSpec } from "./command.ts";
import { doctor } from "./doctor.ts";
import { dashboard } from "./dashboard.ts";
import { migrate } from "./migrate.ts";
import { service } from "./service.ts";
import { preview } from "./preview.ts";
import { status } from "./status.ts";
import { encryption } from "./encryption.ts";
import { deadLetters } from "./dead_letters.ts";

/** Every command, in the order of the help. */
export const COMMANDS: readonly CommandSpec[] = [
  status,
  doctor,
  preview,
  dashboard,
  deadLetters,
  config,
  encryption,
  service,
  migrate,
  completion,
  man,
];
