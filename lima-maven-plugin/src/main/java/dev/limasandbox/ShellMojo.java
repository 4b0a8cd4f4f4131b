package dev.limasandbox;

import java.util.List;
import org.apache.maven.plugin.MojoExecutionException;
import org.apache.maven.plugin.MojoFailureException;
import org.apache.maven.plugins.annotations.Mojo;

/** Opens a shell in the project's sandbox, on the terminal that Maven has. */
@Mojo(name = "shell", requiresProject = false, threadSafe = true)
class ShellMojo extends LimaMojo {
    @Override
    void work() throws MojoExecutionException, MojoFailureException {
        if ((Sandbox.Host.terminals() & 3) != 3) {
            throw new MojoExecutionException("there is no terminal for a shell; a command runs without one: lima:exec");
        }
        int code = sandbox(where(),
                List.of("--no-keys", "--name", ensured(false).name, "--dir", where().toString()));
        if (code == 125) {
            throw new MojoExecutionException("could not open a shell, see above");
        }
    }
}
