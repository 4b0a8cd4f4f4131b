package dev.limasandbox;

import org.apache.maven.plugin.MojoExecutionException;
import org.apache.maven.plugins.annotations.Mojo;
import org.apache.maven.plugins.annotations.Parameter;

/** Deletes the project's sandbox with all that is in it; the project itself stays. */
@Mojo(name = "delete", requiresProject = false, threadSafe = true)
class DeleteMojo extends LimaMojo {
    /** Really: what is installed and logged in there goes. */
    @Parameter(property = "lima.yes", defaultValue = "false")
    private boolean yes;

    @Override
    void work() throws MojoExecutionException {
        if (!yes) {
            throw new MojoExecutionException("this deletes the sandbox, its installed tools and logins: -Dlima.yes");
        }
        sandboxes("delete", "--yes", target());
    }
}
