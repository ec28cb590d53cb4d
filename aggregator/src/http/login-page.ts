import { PERSON_LENGTH_MAX } from "./auth.ts";
import { html } from "./html.ts";

/** The page that asks for the password. problem: what went wrong before; "" at first. */
export function loginPage(problem: string): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>Log in · Weir</title>
        <link rel="icon" href="/favicon.svg" type="image/svg+xml" />
        <link rel="stylesheet" href="/assets/style.css" />
      </head>
      <body class="login-body">
        <main class="login">
          <h1>Weir</h1>
          <p class="muted">Log in to see alerts, devices and reports.</p>
          <form method="post" action="/login">
            <label>
              Your name
              <input name="name" autocomplete="username" maxlength="${PERSON_LENGTH_MAX}" />
              <small class="muted">Shown beside the alerts you acknowledge.</small>
            </label>
            <label>
              Password
              <input name="password" type="password" autocomplete="current-password" required autofocus />
            </label>
            <p class="problem" role="alert">${problem}</p>
            <button class="primary" type="submit">Log in</button>
          </form>
        </main>
      </body>
    </html> `.text;
}
