// uvu reads this flag once, while it loads: with it set, nothing runs until suite.ts calls exec() and waits for it.
(globalThis as { UVU_DEFER?: number }).UVU_DEFER = 1;
