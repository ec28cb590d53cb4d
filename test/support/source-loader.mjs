// Runs TypeScript sources, on threads too: `--import tsx` registers its loader on the main thread alone (Node 20).
import { register } from "tsx/esm/api";

register();
