package dev.limasandbox;

import org.apache.maven.plugin.MojoExecutionException;
import org.apache.maven.plugins.annotations.Mojo;

/** Shows the project's sandbox: its state, sessions, directories and sizes. */
@Mojo(name = "status", requiresProject = false, threadSafe = true)
class StatusMojo extends LimaMojo {
    @Override
    void work() throws MojoExecutionException {
        sandboxes("list", target());
    }
}
