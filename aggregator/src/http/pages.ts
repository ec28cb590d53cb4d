import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import fastifyStatic from "@fastify/static";
import type { FastifyInstance } from "fastify";
import { HttpError } from "./errors.ts";
import { html } from "./html.ts";

/** Served to a browser as they are: from here both in src/http and in dist/http. */
const WEB_ROOT: string = fileURLToPath(new URL("../../web/", import.meta.url));

/** The mark of the project. */
export const FAVICON_FILE: string = join(WEB_ROOT, "favicon.svg");

/** Where the dashboard's scripts are built. */
const SCRIPTS_ROOT: string = fileURLToPath(new URL("../../dist/web/", import.meta.url));

const UPLOT_ROOT: string = dirname(createRequire(import.meta.url).resolve("uplot"));

/** Files the dashboard is made of, by path; everything it needs is local. */
const ASSETS: ReadonlyArray<{ readonly path: string; readonly root: string; readonly file: string }> = [
  { path: "/favicon.svg", root: WEB_ROOT, file: "favicon.svg" },
  { path: "/assets/style.css", root: WEB_ROOT, file: "style.css" },
  { path: "/assets/uplot.js", root: UPLOT_ROOT, file: "uPlot.esm.js" },
  { path: "/assets/uplot.css", root: UPLOT_ROOT, file: "uPlot.min.css" },
];

/** The dashboard's page and what it loads. scriptsRoot: the folder of the built scripts, for tests. */
export async function installPages(app: FastifyInstance, scriptsRoot: string = SCRIPTS_ROOT): Promise<void> {
  await app.register(fastifyStatic, { root: WEB_ROOT, serve: false });
  const hidden = { schema: { hide: true } };

  app.get("/", hidden, (_request, reply) => {
    if (existsSync(join(scriptsRoot, "main.js"))) return reply.sendFile("index.html", WEB_ROOT);
    return reply.code(500).type("text/html").send(notBuiltPage());
  });
  for (const { path, root, file } of ASSETS) {
    app.get(path, hidden, (_request, reply) => reply.sendFile(file, root));
  }
  app.get<{ Params: { readonly "*": string } }>("/assets/js/*", hidden, (request, reply) => {
    const file = request.params["*"];
    if (!/^[\w/-]+\.js(\.map)?$/.test(file)) throw new HttpError(404, "NOT_FOUND", `There is no script ${file}.`);
    return reply.sendFile(file, scriptsRoot);
  });
}

function notBuiltPage(): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <title>Weir</title>
        <link rel="stylesheet" href="/assets/style.css" />
      </head>
      <body class="login-body">
        <main class="login">
          <h1>The dashboard has not been built</h1>
          <p>
            Its scripts are missing. Run <code>npm run build</code> in the project's folder and load this page again.
          </p>
          <p>The API works all the same: <a href="/api/docs">/api/docs</a>.</p>
        </main>
      </body>
    </html> `.text;
}
