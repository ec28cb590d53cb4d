const PLACES: ReadonlySet<string> = new Set(["site", "device", "metric"]);

/** What is wrong with a topic template such as `sensors/{site}/{device}/{metric}`, in words; undefined: nothing. */
export function templateProblem(template: string): string | undefined {
  if (template === "") return "is empty";
  if (/[+#\0]/.test(template)) return "holds a wildcard (+ or #), which no message can be published to";
  for (const [, place = ""] of template.matchAll(/\{([^}]*)\}/g)) {
    if (!PLACES.has(place)) return `holds {${place}}; only {site}, {device} and {metric} are known`;
  }
  return undefined;
}

/** True when a template has one topic for each metric; otherwise all metrics of a device share one message. */
export function hasMetric(template: string): boolean {
  return template.includes("{metric}");
}

/** The topic of a series. metric: unused where the template has no {metric}. */
export function fillTopic(template: string, site: string, device: string, metric: string): string {
  return template
    .replaceAll("{site}", () => site)
    .replaceAll("{device}", () => device)
    .replaceAll("{metric}", () => metric);
}
