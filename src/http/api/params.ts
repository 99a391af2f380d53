import { z } from 'zod';
import { InstanceName } from '../../domain/fleet.ts';
import { EnvironmentName, ModelName } from '../../domain/names.ts';
import { Version } from '../../domain/versions.ts';

/** The parameters of the paths under `/api/models/:model`. */
export const ofModel = z.object({ model: ModelName });
export const ofVersion = ofModel.extend({ version: Version });
export const ofFile = ofVersion.extend({ path: z.string() });
export const ofEnvironment = ofModel.extend({ environment: EnvironmentName });
export const ofLoader = ofModel.extend({ instance: InstanceName });
